"""The inventory of assets: devices, who talks to whom, and guessed roles, from nothing but flows."""
