package kubeconfig

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd/api"
)

func (e Entry) cluster() *api.Cluster {
	return &api.Cluster{Server: e.Server, CertificateAuthority: e.CAFile, CertificateAuthorityData: e.CA, Extensions: e.mark()}
}

func (e Entry) user() *api.AuthInfo {
	return &api.AuthInfo{ClientCertificate: e.CertFile, ClientKey: e.KeyFile,
		ClientCertificateData: e.Cert, ClientKeyData: e.Key, Extensions: e.mark()}
}

func (e Entry) mark() map[string]runtime.Object {
	text, err := json.Marshal(mark{Owner: e.Owner})
	if err != nil {
		panic(err) // a struct of a string always marshals
	}
	return map[string]runtime.Object{markName: &runtime.Unknown{Raw: text, ContentType: runtime.ContentTypeJSON}}
}

func readMark(extensions map[string]runtime.Object, owner string) Owner {
	unknown, ok := extensions[markName].(*runtime.Unknown)
	if !ok {
		return Foreign
	}
	var m mark
	if json.Unmarshal(unknown.Raw, &m) != nil {
		return Foreign
	}
	if m.Owner != owner {
		return Another
	}
	return Ours
}

// ownerOf says whose the entries of a file are: the most foreign of them counts.
func ownerOf(config *api.Config, name, owner string) Owner {
	whose := Nobody
	if c := config.Contexts[name]; c != nil {
		whose = max(whose, readMark(c.Extensions, owner))
	}
	if c := config.Clusters[name]; c != nil {
		whose = max(whose, readMark(c.Extensions, owner))
	}
	if u := config.AuthInfos[name]; u != nil {
		whose = max(whose, readMark(u.Extensions, owner))
	}
	return whose
}
