"""From a matte to a picture: alpha at frame size, something behind the person, and the frames a sink writes."""
