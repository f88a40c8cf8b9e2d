"""Figures of the stages as the screens of sensors and models show them: read by the clock, never for a request."""
