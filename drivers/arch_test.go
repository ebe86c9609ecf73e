package drivers

import "testing"

func TestArtifactsOfArchitectures(t *testing.T) {
	for path, want := range map[string]string{"/a-arm64/node-amd64.iso": "amd64", "bundle-v1.37.2-arm64.img": "arm64", "/x/image": "", "bundle-amd64": "amd64"} {
		if got := ArchOf(path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	if got := ForArch("/a-amd64.b/bundle-v1.37.2-amd64.img", "arm64"); got != "/a-amd64.b/bundle-v1.37.2-arm64.img" {
		t.Error(got)
	}
}
