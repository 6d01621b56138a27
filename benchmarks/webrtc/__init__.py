"""What our WebRTC server adds to a stream, measured beside a plain aiortc echo."""
