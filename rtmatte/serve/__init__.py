"""`rtmatte serve`: a stream comes in by WebRTC, goes through the straight line, and out to whoever watches it.

One event loop carries the network. Each publisher has a line on threads of its own, one worker runs the network of
all of them, and each codec that is watched has an encoder on a thread. Needs the extra `webrtc`.
"""
