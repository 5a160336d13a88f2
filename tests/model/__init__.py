"""The protocol as small models, explored in every interleaving: `python -m tests.model` shows what breaks without each rule."""
