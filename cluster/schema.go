package cluster

import "encoding/json"

// schema is the part of JSON Schema (draft 2020-12) that describes a configuration file.
type schema struct {
	Schema      string            `json:"$schema,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Type        any               `json:"type,omitempty"` // a name or several
	Const       string            `json:"const,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	MaxLength   int               `json:"maxLength,omitempty"`
	Default     any               `json:"default,omitempty"`
	Items       *schema           `json:"items,omitempty"`
	Properties  map[string]schema `json:"properties,omitempty"`
	Required    []string          `json:"required,omitempty"`
	Additional  *bool             `json:"additionalProperties,omitempty"`
}

// Schema is the JSON Schema of the file that --config names, for editors. It comes from the settings, as the flags do.
func Schema() ([]byte, error) {
	settings := map[string]schema{}
	for _, s := range Settings {
		settings[s.Key] = s.schema()
	}
	closed := false
	file := schema{
		Schema:      "https://json-schema.org/draft/2020-12/schema",
		Title:       "dory cluster",
		Description: "What a cluster of dory's is wished to be. A key that is left out has its default.",
		Type:        "object",
		Required:    []string{"apiVersion", "kind"},
		Additional:  &closed,
		Properties: map[string]schema{
			"apiVersion": {Const: fileVersion},
			"kind":       {Const: fileKind},
			"metadata": {Type: "object", Additional: &closed, Properties: map[string]schema{
				"name": {Type: "string", Description: "the cluster's name", Pattern: namePattern.String(), MaxLength: longestName},
			}},
			"spec": {Type: "object", Additional: &closed, Properties: settings},
		},
	}
	return json.MarshalIndent(file, "", "  ")
}

// schema of one setting. Numbers may be written as text, as on the command line.
func (s Setting) schema() schema {
	described := schema{Description: s.Usage, Type: []string{"string", "integer"}}
	var defaults Wanted
	defaults.Spec, defaults.Options = Defaults()
	switch value := s.field(&defaults).(type) {
	case *bool:
		described.Type, described.Default = "boolean", *value
	case *[]string:
		described.Type, described.Items = []string{"array", "string"}, &schema{Type: "string"}
	case *string:
		described.Type = "string"
		if *value != "" {
			described.Default = *value
		}
	default:
		described.Default = s.Get(defaults)
	}
	return described
}
