"""The engines that evaluate the matching loss of candidates, their choice, and the check that none may skip.

The fold processes many victims in one pass, if the model and the training are plain enough. The replay takes any torch
module and any training, one victim after another.
"""
