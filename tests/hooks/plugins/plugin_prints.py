from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.hooks.specs import ExecutorSpec, hookimpl

print("welcome to plugin_prints")


class LoudExecutor(SerialExecutor):
    def start(self):
        print("here we go")
        super().start()


def check():
    print("checking")
    return ""


@hookimpl
def recscale_register_executors():
    print("registering")
    summary = "prints wherever it can"
    target, looks = "plugin_prints:LoudExecutor", "plugin_prints:check"
    return [ExecutorSpec(name="loud", target=target, summary=summary, check=looks)]


@hookimpl
def recscale_choose_executor(request):
    print("choosing")


@hookimpl
def recscale_executor_chosen(event):
    pass
