# For FSF-LD; the paper gives no schedule. In float32, as the paper; --amp trains in bfloat16.
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(type="AutocastOptimWrapper", dtype="float32", optimizer=dict(type="Adam", lr=1e-4))
param_scheduler = None
