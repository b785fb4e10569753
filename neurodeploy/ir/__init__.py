"""The two languages: what a network means (`network`, `nodes`) and what a target will compute (`program`)."""
