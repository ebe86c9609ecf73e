package main

// publication is what others have published of their own: seconds of time-to-k8s' phases, on GitHub's runners, in containers.
// Other computers than ours: they are here for the order of magnitude.
type publication struct {
	name                     string
	command, app, dns, total float64
	source                   string
}

const minikubeBenchmark = "https://github.com/kubernetes/minikube/blob/master/site/content/en/docs/benchmarks/timeToK8s/v1.36.0.md"

var published = []publication{
	{"minikube 1.36 (docker)", 21.1, 6.4, 23.2, 50.8, minikubeBenchmark},
	{"kind 0.29", 14.2, 18.0, 0.6, 33.0, minikubeBenchmark},
	{"k3d 5.8", 12.6, 3.0, 4.1, 19.9, minikubeBenchmark},
}

// handMade is what was measured by hand on a stock Debian VM, on the computer on which dory was written, emulated, images
// already loaded; seconds, unless the unit says otherwise.
var handMade = []struct{ what, figure string }{
	{"boot until SSH answers", "15 s"},
	{"`kubeadm init`, from then on", "80-82 s"},
	{"CoreDNS Ready, from the same moment", "130 s"},
	{"DNS answers in a pod", "136 s"},
	{"QEMU resident", "2.7 GB"},
	{"minikube 1.38, driver ssh, on that VM: `start`", "181 and 270 s"},
	{"`status`", "5-9 s"},
	{"`delete`", "34 s"},
}

func publishedBars() (bars []bar) {
	for _, p := range published {
		bars = append(bars, bar{label: p.name + ", published, elsewhere", published: p.total})
	}
	return bars
}
