package fail

// The kinds of failure. Exit codes: tens by origin (10 program, 20 resources, 30 host, 40 network outside, 50 driver,
// 60 provider, 70 local network, 80 guest, 90 container runtime, 100 control plane, 110 service), ones by kind (+1
// conflict, 2 timeout, 3 not running, 4 usage, 5 not found, 6 unsupported, 7 permission, 8 configuration, 9 unavailable).
var (
	General     = Kind{"GENERAL", 1, "a failure without a better name", "run it again with -v; the cluster's log file has everything"}
	Interrupted = Kind{"INTERRUPTED", 2, "Ctrl-C or a termination signal", "type the same command again to go on, or 'dory delete' to remove what there is"}

	Usage         = Kind{"USAGE", 14, "the command line is not understood", "see 'dory help'"}
	BadName       = Kind{"BAD_NAME", 14, "not a name for a cluster", "use lower-case letters, digits and dashes, at most 40 characters, beginning and ending with a letter or digit"}
	BadValue      = Kind{"BAD_VALUE", 14, "a flag or setting has an impossible value", "see 'dory start --help'"}
	Unsupported   = Kind{"FLAG_UNSUPPORTED", 14, "a flag that dory cannot honour", "leave the flag out"}
	NoCluster     = Kind{"CLUSTER_NOT_FOUND", 15, "there is no such cluster", "'dory profile list' shows those there are; 'dory start' makes one"}
	NoTemplate    = Kind{"TEMPLATE_NOT_FOUND", 15, "there is no such template, or more than one", "'dory template list' shows the keys; give enough of one"}
	ClusterBusy   = Kind{"CLUSTER_BUSY", 11, "another dory process holds the cluster", "wait for it to end, or end it"}
	ClusterNotUp  = Kind{"CLUSTER_NOT_RUNNING", 13, "the cluster does not run", "start it with 'dory start'"}
	SpecConflict  = Kind{"SPEC_CONFLICT", 11, "the wish differs from the cluster in something that cannot be changed in place", "leave the flag out, or 'dory delete' and start anew"}
	RecordCorrupt = Kind{"RECORD_CORRUPT", 18, "a cluster's record cannot be read", "'dory delete' removes the cluster all the same"}
	RecordNewer   = Kind{"RECORD_NEWER", 18, "a cluster's record was written by a newer dory", "use that dory, or remove the cluster with 'dory delete'"}
	BadConfig     = Kind{"BAD_CONFIG", 18, "a configuration file cannot be used", "mend the file, or leave --config out"}

	MemoryTooMuch   = Kind{"RSRC_MEMORY", 23, "less memory than a cluster needs, or more than the host has", "choose another --memory"}
	DiskTooMuch     = Kind{"RSRC_DISK", 26, "less disk than a cluster needs, or no space left on the host", "free some space, or choose another --disk-size"}
	CoresTooMany    = Kind{"RSRC_CPUS", 29, "fewer CPUs than a cluster needs, or more than the host has", "choose another --cpus"}
	ArtifactMissing = Kind{"HOST_ARTIFACT_MISSING", 35, "the node image or the bundle is not in the cache", "build them with 'make artifacts' in dory's source tree"}
	ArtifactCorrupt = Kind{"HOST_ARTIFACT_CORRUPT", 38, "the node image or the bundle is not what its digest says", "delete the named file and build it anew with 'make artifacts'"}
	ArtifactArch    = Kind{"HOST_ARTIFACT_ARCH", 36, "the node image or the bundle is for another architecture", "build them for this machine with 'make artifacts'"}
	HostPermission  = Kind{"HOST_PERMISSION", 37, "a file or directory of this computer cannot be used", "mend its owner or mode"}
	OutputFailed    = Kind{"HOST_OUTPUT", 30, "an answer could not be written", "free some space where the output goes, or send it elsewhere"}
	NoFile          = Kind{"FILE_NOT_FOUND", 15, "there is no such file or directory", "check the path; a directory is made by 'mkdir -p', on a node by 'dory ssh -- mkdir -p'"}
	CopyFailed      = Kind{"COPY_FAILED", 10, "a file could not be copied", "the words above are the file system's own: 'df' and 'ls -l' show more, on a node with 'dory ssh --' before them"}
	KubeconfigTaken = Kind{"HOST_KUBECONFIG_TAKEN", 31, "the kubeconfig has a context, cluster or user of the cluster's name that is somebody else's", "choose another name with -p, or another file with KUBECONFIG, or remove those entries ('kubectl config delete-context', 'delete-cluster', 'delete-user')"}
	KubeconfigBad   = Kind{"HOST_KUBECONFIG", 38, "the kubeconfig file cannot be read or written", "mend or move the named file, then 'dory update-context'"}

	TemplateUnusable = Kind{"DRV_TEMPLATE_UNUSABLE", 58, "a template cannot be forked", "'dory template delete' removes it, and the next start makes it anew; --no-template goes without"}

	QEMUMissing    = Kind{"DRV_QEMU_MISSING", 55, "QEMU is not installed", "install it: 'sudo apt-get install qemu-system-x86' (Debian, Ubuntu), 'sudo dnf install qemu-kvm' (Fedora), 'brew install qemu' (macOS)"}
	QEMUFailed     = Kind{"DRV_QEMU_FAILED", 50, "QEMU ended or refused to start", "the evidence above is QEMU's own; 'dory logs --problems' shows more"}
	KVMUnusable    = Kind{"DRV_KVM_UNUSABLE", 59, "the accelerator that was asked for does not run a guest", "leave --accel out, and dory takes what works"}
	GuestSilent    = Kind{"DRV_GUEST_SILENT", 52, "the hypervisor runs, but a guest on it does not come up", "name another processor model (--cpu-model qemu64), another accelerator (--accel), or another QEMU (DORY_QEMU=/path/to/qemu-system-x86_64)"}
	MachineEnded   = Kind{"DRV_MACHINE_ENDED", 53, "the machine ended by itself", "the evidence above is the machine's own; 'dory start' boots it again"}
	MachineGone    = Kind{"DRV_MACHINE_GONE", 55, "the machine of a cluster that was ready once is not there any more, nor is its disk", "'dory delete' removes what is left of the cluster; then 'dory start' makes a new one"}
	DriverUnknown  = Kind{"DRV_UNKNOWN", 54, "there is no such driver", "use --driver qemu"}
	DriverUnusable = Kind{"DRV_UNUSABLE", 59, "no driver works on this computer", "see the remedies above"}

	LibvirtMissing = Kind{"DRV_LIBVIRT_MISSING", 55, "libvirt is not installed, or its daemon does not run", "install it: 'sudo apt-get install libvirt-daemon-system' (Debian, Ubuntu), 'sudo dnf install libvirt-daemon-kvm' (Fedora); or start it: 'sudo systemctl start libvirtd'"}
	LibvirtDenied  = Kind{"DRV_LIBVIRT_PERMISSION", 57, "this user may not talk to libvirt's daemon", "'sudo usermod -aG libvirt $USER' and log in again, or use --kvm-qemu-uri qemu:///session"}
	LibvirtTaken   = Kind{"DRV_LIBVIRT_TAKEN", 51, "libvirt has something of the name that dory would use, and dory did not make it", "rename or remove what the message names; dory touches only what bears its mark"}
	LibvirtFailed  = Kind{"DRV_LIBVIRT_FAILED", 50, "libvirt refused or failed to do something", "the words above are libvirt's own; its log says more: 'journalctl -u libvirtd'"}
	LibvirtTimeout = Kind{"DRV_LIBVIRT_TIMEOUT", 52, "libvirt's daemon does not answer, or is gone", "'systemctl status libvirtd' shows whether it runs; a restart of it harms no machine"}
	NoSubnet       = Kind{"NET_NO_SUBNET", 79, "every range of addresses that dory would give to a machine's network is in use on the host", "remove a network that is not needed: 'virsh net-list --all' shows libvirt's, 'ip route' the host's; or use --driver qemu"}
	NetworkFailed  = Kind{"NET_LIBVIRT", 70, "libvirt could not bring a machine's network up", "the evidence above is libvirt's own; dnsmasq and iptables or nftables must be installed; or use --driver qemu"}

	RemoteUnreachable = Kind{"SSH_UNREACHABLE", 69, "a machine that exists already does not answer over SSH, or lets nobody in", "check address, port, user and key with 'ssh -p PORT USER@ADDRESS true'"}
	RemoteHostKey     = Kind{"SSH_HOST_KEY", 67, "a machine's SSH host key is not the one that is known", "if the machine was made anew, remove the old key: 'ssh-keygen -R ADDRESS'; otherwise somebody may be listening in"}
	RemoteSudo        = Kind{"SSH_NO_SUDO", 67, "the user on a machine cannot become root without a password", "log in as root, or let sudo ask for no password: 'USER ALL=(ALL) NOPASSWD: ALL'"}
	RemoteUnfit       = Kind{"SSH_MACHINE_UNFIT", 66, "a machine lacks something that a node needs", "the evidence above says what; see docs/drivers.md"}
	RemoteTaken       = Kind{"SSH_MACHINE_TAKEN", 61, "a machine is in use already: by another cluster, or by another Kubernetes or container runtime", "use another machine, or remove from this one what the evidence names"}
	RemoteMissing     = Kind{"SSH_NO_ADDRESS", 64, "driver ssh needs to know which machine", "name it with --ssh-ip-address"}

	PortTaken = Kind{"NET_PORT_TAKEN", 71, "a port of this computer is in use", "choose another port, or end what listens there"}

	GuestSSH     = Kind{"GUEST_SSH", 82, "the machine does not answer over SSH", "'dory logs' shows its console; 'dory delete' and 'dory start' make a new one"}
	GuestCommand = Kind{"GUEST_COMMAND", 80, "a command on the node failed", "'dory logs --problems' shows more"}
	GuestMissing = Kind{"GUEST_NO_NODE", 85, "there is no such node", "'dory status' lists the nodes"}

	RuntimeFailed      = Kind{"RUNTIME_FAILED", 90, "the container runtime does not work", "'dory logs --problems' shows more"}
	ControlPlaneFailed = Kind{"K8S_COMPONENT_FAILED", 100, "a component of Kubernetes failed", "'dory logs --problems' shows more; a wrong --extra-config is a common cause"}
	ControlPlaneWait   = Kind{"K8S_WAIT_TIMEOUT", 102, "Kubernetes was not ready in time", "'dory logs --problems' shows more; a slow computer may need a longer --wait-timeout"}
)
