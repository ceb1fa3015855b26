"""The small audio-language model: Whisper's ears, SmolLM2, and a projector that is fitted in closed form."""
