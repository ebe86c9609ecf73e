package cmd

import (
	"strings"
	"testing"
)

// minikubeFlags are all flags of 'minikube start', with their letters; see minikube's site/content/en/docs/commands/start.md.
const minikubeFlags = `
	addons apiserver-ips apiserver-name apiserver-names apiserver-port auto-pause-interval auto-update-drivers base-image
	binary-mirror cache-images cert-expiration cni container-runtime/c cpus cri-socket delete-on-failure disable-driver-mounts
	disable-metrics disable-optimizations disk-size dns-domain dns-proxy docker-env docker-opt download-only driver/d dry-run
	embed-certs enable-default-cni extra-config extra-disks feature-gates force force-systemd gpus/g ha host-dns-resolver
	host-only-cidr host-only-nic-type hyperkit-vpnkit-sock hyperkit-vsock-ports hyperv-external-adapter
	hyperv-use-external-switch hyperv-virtual-switch image-mirror-country image-repository insecure-registry install-addons
	interactive iso-url keep-context kubernetes-version kvm-gpu kvm-hidden kvm-network kvm-numa-count kvm-qemu-uri
	listen-address memory mount mount-9p-version mount-gid mount-ip mount-msize mount-options mount-port mount-string mount-type
	mount-uid namespace nat-nic-type native-ssh network network-plugin nfs-share nfs-shares-root no-kubernetes no-vtx-check
	nodes/n output/o ports preload qemu-firmware-path registry-mirror service-cluster-ip-range socket-vmnet-client-path
	socket-vmnet-path ssh-ip-address ssh-key ssh-port ssh-user static-ip subnet trace uuid vm vm-driver wait wait-timeout
	add_dir_header alsologtostderr bootstrapper/b log_backtrace_at log_dir log_file log_file_max_size logtostderr one_output
	profile/p rootless skip-audit skip_headers skip_log_headers stderrthreshold user v vmodule
`

// A script written for minikube meets no flag that is not known: each is honoured, without effect, or refused by name.
func TestFlagsOfMinikube(t *testing.T) {
	root := new(app).root()
	start, _, err := root.Find([]string{"start"})
	if err != nil {
		t.Fatal(err)
	}
	for entry := range strings.FieldsSeq(minikubeFlags) {
		name, letter, _ := strings.Cut(entry, "/")
		flag := start.Flags().Lookup(name)
		if flag == nil {
			flag = root.PersistentFlags().Lookup(name)
		}
		if flag == nil {
			t.Errorf("--%s is not known", name)
		} else if letter != "" && flag.Shorthand != letter {
			t.Errorf("--%s has the letter %q instead of %q", name, flag.Shorthand, letter)
		}
	}
}
