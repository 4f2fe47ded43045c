_base_ = ["./farnet_densenet121_isbi2015_800x640.py"]

# As in the paper (section 4.2); its published code uses Adam. At this rate Adadelta hardly learns.
optim_wrapper = dict(optimizer=dict(_delete_=True, type="Adadelta", lr=1e-4))
param_scheduler: list = []
