"""Effects of steering on the answers of text models: pairs, directions, what is measured."""
