"""One page about a deployed model: what it is, what it does, how it stands up to attack, and what it represents."""
