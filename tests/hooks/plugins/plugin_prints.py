from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import ExecutorSpec, hookimpl

print("welcome to plugin_prints")


class LoudExecutor(SerialExecutor):
    def start(self):
        print("here we go")
        super().start()


@hookimpl
def recscale_register_executors():
    return [ExecutorSpec(name="loud", target="plugin_prints:LoudExecutor", summary="prints at import and at its start")]


@hookimpl
def recscale_executor_chosen(event):
    pass
