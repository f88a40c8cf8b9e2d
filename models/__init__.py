"""IGAN-IDS: the detector, its training, evaluation, calibration and registry. Imports schemas only."""
