"""Training of the compact network: data made on the fly, losses, loop. Never imported by `rtmatte`."""
