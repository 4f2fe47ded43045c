train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=10)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(type="AutocastOptimWrapper", optimizer=dict(type="Adam", lr=1e-4))
param_scheduler = None
