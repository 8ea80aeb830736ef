"""Tools that a language model may call: how they are declared, and the only calls that can be written."""
