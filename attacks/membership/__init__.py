"""Membership inference: was an example among those that a model, or a client's update, was computed from?"""
