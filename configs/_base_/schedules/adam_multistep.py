# The schedule of FARNet's published code: Adam, a tenth of the rate after 200 of 300 epochs, one image per
# batch. In float32, as the code; --amp trains in bfloat16.
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=20)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(type="AutocastOptimWrapper", dtype="float32", optimizer=dict(type="Adam", lr=1e-4))
param_scheduler = [dict(type="MultiStepLR", milestones=[200], gamma=0.1, by_epoch=True)]
# What the paper's VGG needs (section 4.3).
three_times_as_long = (
    dict(max_epochs=900),
    [dict(type="MultiStepLR", milestones=[600], gamma=0.1, by_epoch=True)],
)
