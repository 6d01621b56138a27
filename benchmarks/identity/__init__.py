"""Is it the same person? After 30 frames without them, beside somebody alike, and whatever the first mask was like."""
