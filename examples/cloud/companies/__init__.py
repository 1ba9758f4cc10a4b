"""Companies: the API of a go-live plan, small."""
