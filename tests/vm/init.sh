#!/bin/busybox sh
# The first process of the small machine: it loads the modules, puts the host's file tree under a layer of memory, and
# runs the host's command there, so that the guest has the checkout, its Python and ffmpeg without a copy.
/bin/busybox --install -s /bin
mkdir -p /proc /sys /host /layer /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

while read -r module options; do
    insmod "/modules/$module" $options || echo "init: $module does not load"
done < /modules/order

mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro hostroot /host
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work root /root
for folder in proc sys dev; do mount --bind /$folder /root/$folder; done
mkdir -p /root/dev/shm /root/exchange
mount -t tmpfs shm /root/dev/shm
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 exchange /root/exchange

chroot /root /bin/sh /exchange/command
echo $? > /root/exchange/status
sync
poweroff -f
