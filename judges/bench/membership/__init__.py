"""Carries out experiments of membership inference: targets, shadow models, attacks, judgement."""
