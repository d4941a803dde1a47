"""Sign-in, tokens, the account, API keys and rights."""
