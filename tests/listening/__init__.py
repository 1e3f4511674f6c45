"""Listening by number: what the built-in model says, stage by stage and policy by policy (`make listen`)."""
