#!/bin/bash
# A node that runs out of disk or memory, or is told so by its thresholds: unused images are removed and told of, pods that take more
# than they may are evicted.
# tmp, cluster and the like come from lib.sh.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"

# Unused images go at once, however empty the disk is.
export KONTIKI_IMAGE_GC_HIGH_THRESHOLD=1 KONTIKI_IMAGE_GC_LOW_THRESHOLD=0 KONTIKI_MINIMUM_IMAGE_TTL_DURATION=1s
cluster_up --servers 1

containerd() { ctr -a "$cluster_dir/server-1/agent/containerd/containerd.sock" -n k8s.io "$@"; }

# --- images

told_images() { k get node server-1 -o jsonpath='{range .status.images[*]}{.sizeBytes} {.names}{"\n"}{end}'; }
image_listed() { containerd images ls -q | grep -q "$1"; }
node_events() { k get events -n default --field-selector involvedObject.kind=Node,involvedObject.name=server-1 -o jsonpath='{range .items[*]}{.type} {.reason} {.message}{"\n"}{end}'; }

# An image that nothing uses and that came from no archive of the node's: one file of 3 MB.
python3 - "$tmp/unused.tar" <<'PY'
import hashlib, io, json, sys, tarfile
def add(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
layer = io.BytesIO()
with tarfile.open(fileobj=layer, mode="w") as t:
    add(t, "blob", b"x" * 3000000)
layer = layer.getvalue()
config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}).encode()
with tarfile.open(sys.argv[1], "w") as t:
    add(t, "layer.tar", layer)
    add(t, "config.json", config)
    add(t, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["example.com/unused:1"], "Layers": ["layer.tar"]}]).encode())
PY
t "an image is imported" containerd images import --snapshotter "$(containerd snapshots ls >/dev/null 2>&1 && echo overlayfs)" "$tmp/unused.tar"
soon "an image that nothing uses is removed when its disk is fuller than the threshold" not image_listed example.com/unused:1
t "images of the node's own archives stay, used or not" image_listed library/busybox
soon_out "the Node tells of its images" '^[0-9]+ .*docker.io/library/busybox' told_images
t "not of those that are gone" not has_line example.com/unused told_images
soon_out "that there is not enough to remove is an event of the Node" '^Warning FreeDiskSpaceFailed Insufficient free disk space on the node.s image filesystem' node_events
