"""How good the alpha is: methods played over clips with known alpha, scored side by side in one run."""
