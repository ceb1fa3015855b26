"""The tiny LALMs in resources/: their architecture, their language, the curriculum that trains them, their scores."""
