"""Starts a JupyterLab of its own, and drives a notebook in it through a browser."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cityseg_utils import storage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing that Chromium does on its own account, such as asking for updates.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS += ["--disable-dev-shm-usage"]
# A camera that shows a test picture, and may be used.
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "docmanager-extension/plugin": {"autosave": False},
}


@contextmanager
def serve(home: Path) -> Iterator[tuple[str, str, Path]]:
    """Run JupyterLab with all its files under `home`; give its address, token and folder."""
    for plugin, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, folder = secrets.token_hex(16), home / "notebooks"
    folder.mkdir()
    env = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "CITYSEG_HOME": str(storage.home()),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    env.pop("CITYSEG_DATA", None)
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    command += ["--LabApp.extension_manager=readonly"]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert server.poll() is None, (home / "server.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api/status?token={token}", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                continue
        yield address, token, folder
    finally:
        server.terminate()
        server.wait()


class Notebook:
    """A notebook that is open in JupyterLab, all its cells run."""

    def __init__(self, page, address: str, token: str, name: str):
        self.page, self.errors, self.outside = page, [], []
        page.on("console", lambda m: self._note(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route("**/*", self._local_only(address))
        self.url = f"{address}/lab/tree/{name}?token={token}&reset"
        self.panel = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.open()
        self.run()

    def open(self):
        """Load the page, anew if it is there: what was not saved is lost, the kernel lives on."""
        self.page.goto(self.url)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=90_000)
        self.panel.locator(".jp-Cell").first.wait_for()
        self._idle()
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.ready")

    def save(self):
        """Save the notebook with its outputs."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def restart(self):
        """Start the kernel anew."""
        self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
        )
        self._idle()

    def run_from(self, text: str):
        """Run the cell that begins with a text, and all below it."""
        self.page.evaluate(
            """(text) => {
                const { content } = window.jupyterapp.shell.currentWidget;
                content.activeCellIndex = content.widgets.findIndex(
                    (cell) => cell.model.sharedModel.source.startsWith(text));
            }""",
            text,
        )
        self.run("notebook:run-all-below")

    def run(self, command: str = "notebook:run-all-cells"):
        """Run all cells, or those of another command."""
        self.page.evaluate(
            """(command) => {
                window.ran = 0;
                window.jupyterapp.commands.execute(command).then(
                    () => { window.ran = 1; }, (error) => { window.ran = String(error); });
            }""",
            command,
        )
        self.page.wait_for_function("window.ran", timeout=300_000)
        self._idle()
        failed = self.failures()
        assert failed == [], failed

    def _idle(self):
        idle = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
        self.panel.locator(idle).wait_for(state="attached", timeout=300_000)

    def _note(self, error: str):
        # JupyterLab's debugger asks a kernel that is just being restarted.
        if not error.startswith("Could not restore the debugger state"):
            self.errors.append(error)

    def _local_only(self, address):
        def route(request):
            if request.request.url.startswith((address, "data:", "blob:")):
                request.continue_()
            else:
                self.outside.append(request.request.url)
                request.abort()

        return route

    def kernel(self, expression: str) -> str:
        """Evaluate an expression in the notebook's kernel, without a cell."""
        return self.page.evaluate(
            """async (expression) => {
                const panel = window.jupyterapp.shell.currentWidget;
                const request = panel.sessionContext.session.kernel.requestExecute({
                    code: "", silent: true, store_history: false,
                    user_expressions: { value: expression } });
                const value = (await request.done).content.user_expressions.value;
                if (value.status !== "ok") throw new Error(JSON.stringify(value));
                return value.data["text/plain"]; }""",
            expression,
        )

    def failures(self) -> list[str]:
        """The errors that cells ended with."""
        return self.page.evaluate(
            """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
                .filter((cell) => cell.type === "code")
                .flatMap((cell) => cell.outputs.toJSON())
                .filter((output) => output.output_type === "error")
                .map((output) => `${output.ename}: ${output.evalue}`)"""
        )

    def cells(self) -> list[str]:
        """The ids and kinds of the cells, which letter keys must not change."""
        return self.page.evaluate(
            """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
                .map((cell) => cell.id + cell.type)"""
        )
