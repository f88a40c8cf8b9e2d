"""IGAN-IDS, one part a file, in the order a row meets them:

preprocess → encoder → (training only: imbalance, gan) → classifier and novelty → network (fused) → calibrate.
"""
