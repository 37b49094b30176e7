"""Generated bad input, one module for each part of the package; tests/test_bad_input.py runs all of them."""
