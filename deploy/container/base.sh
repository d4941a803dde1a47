#!/bin/sh
# Make the base of the images from Debian's packages where no registry can be reached: `base.sh NAME`, as root; then
# `buildah build --build-arg BASE=localhost/NAME …`. `base.sh oci-archive:FILE` writes a file, which BASE can name as it is.
# It needs mmdebstrap and buildah, and makes the same image of the same packages.
set -eu
name=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
SOURCE_DATE_EPOCH=0 mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --include=ca-certificates trixie "$folder/base.tar"
container=$(buildah from scratch)
buildah add --quiet "$container" "$folder/base.tar" / >/dev/null
buildah config --cmd /bin/sh "$container"
buildah commit --quiet --timestamp 0 --rm "$container" "$name"
