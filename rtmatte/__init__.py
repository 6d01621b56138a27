"""Real-time streaming video matting.

Importing this package loads numpy at most; every heavy library is loaded by the one module that owns it.
"""

__version__ = "0.1.0"
