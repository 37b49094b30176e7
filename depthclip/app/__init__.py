"""The page of `python -m depthclip app`: depth of a photograph, whose words can be edited."""
