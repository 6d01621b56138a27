"""Two hosts on one machine: network namespaces of their own, and the weather between them."""

DEVICE = "rtmatte0"  # of each host, its only one
