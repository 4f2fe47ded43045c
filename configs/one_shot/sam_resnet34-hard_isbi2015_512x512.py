_base_ = ["./sam_resnet34_isbi2015_512x512.py"]

# The loss of the publication: with the most difficult of all other pixels, not only random ones.
model = dict(contrast=_base_.hard_negatives)
