# As Ham and Oh (2023): Adam, both betas 0.9, a tenth of the rate after 500 and after 700 of 800 epochs. In
# float32, as the paper; --amp trains in bfloat16.
train_cfg = dict(by_epoch=True, max_epochs=800, val_interval=20)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="AutocastOptimWrapper", dtype="float32", optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.9))
)
param_scheduler = [dict(type="MultiStepLR", milestones=[500, 700], gamma=0.1, by_epoch=True)]
