"""Localization: photographs against a map of posed images. Start at `localize.localize`."""
