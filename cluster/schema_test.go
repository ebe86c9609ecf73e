package cluster

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
)

// The published schema is the settings', and describes every one of them.
func TestSchema(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	published, err := os.ReadFile("../docs/dory.schema.json")
	if err != nil || !bytes.Equal(bytes.TrimSpace(published), want) {
		t.Errorf("docs/dory.schema.json is not what 'dory config schema' prints: %v", err)
	}
	var s schema
	if err := json.Unmarshal(want, &s); err != nil {
		t.Fatal(err)
	}
	for _, setting := range Settings {
		if of := s.Properties["spec"].Properties[setting.Key]; of.Description == "" || of.Type == nil {
			t.Errorf("%s: %+v", setting.Key, of)
		}
	}
	if d := s.Properties["spec"].Properties["memory"].Default; d != "4GiB" {
		t.Errorf("memory is %v by default", d)
	}
}
