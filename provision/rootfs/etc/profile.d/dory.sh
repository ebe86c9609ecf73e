# 'dory ssh' finds kubectl, ctr and the rest, and kubectl finds the cluster.
PATH=$PATH:/opt/dory/bundle/bin
export KUBECONFIG=${KUBECONFIG:-/etc/kubernetes/admin.conf}
