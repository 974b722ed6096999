// The drop target: checks what can be checked here, then sends one file after the other.
import { ask, bytes, count, refresh, watch } from "/jobs.js";

const element = (id) => document.getElementById(id);
const AT_ONCE = 3; // uploads
let limits = null;
let isSending = false;

function wishes() {
  const frames = element("num-frames").value;
  return {
    is_sequence: element("is-sequence").checked,
    own_cameras: element("own-cameras").checked,
    dense: element("dense").checked,
    num_frames: frames ? Number(frames) : null,
  };
}

function complain(sentence) {
  element("problem").textContent = sentence;
  element("problem").hidden = !sentence;
}

// All files of a drop, those in folders too.
async function droppedFiles(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const files = [];
  const walk = async (entry) => {
    if (entry.name.startsWith(".")) return;
    if (entry.isFile) {
      files.push(await new Promise((done, fail) => entry.file(done, fail)));
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, fail) => reader.readEntries(done, fail));
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return files;
}

function put(job, file, told) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `/api/jobs/${job}/files?file=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => told(event.loaded);
    request.onload = () => done(request.status < 300);
    request.onerror = () => done(false);
    request.send(file);
  });
}

async function send(files) {
  if (isSending) return complain("Wait until the files before are sent, then drop these.");
  if (!files.length) return complain("There are no files in this; drop photographs or a video.");
  if (!limits) return complain("The server does not answer; try again in a moment.");
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (files.length > limits.num_files) {
    return complain(`These are ${count(files.length)} files, and one model takes ${count(limits.num_files)} here; leave some out.`);
  }
  if (total > limits.size) {
    return complain(`These are ${bytes(total)}, and one model takes ${bytes(limits.size)} here; leave some out.`);
  }
  complain("");
  isSending = true;
  element("upload").hidden = false;
  const loaded = new Map();
  const tell = () => {
    const sum = [...loaded.values()].reduce((all, one) => all + one, 0);
    element("upload-bar").value = total ? sum / total : 1;
    element("upload-says").textContent = `Sending ${count(files.length)} ${files.length === 1 ? "file" : "files"}: ${bytes(sum)} of ${bytes(total)}`;
  };
  tell();
  try {
    const job = await ask("POST", "/api/jobs", wishes());
    const waiting = [...files];
    const worker = async () => {
      for (let file = waiting.shift(); file; file = waiting.shift()) {
        const one = file;
        const told = (size) => { loaded.set(one, Math.min(size, one.size)); tell(); };
        await put(job.name, one, told);
        told(one.size);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    await refresh();
    document.getElementById(`job-${job.name}`)?.scrollIntoView({ behavior: "smooth", block: "nearest" });
  } catch (error) {
    complain(error.message);
  } finally {
    isSending = false;
    element("upload").hidden = true;
    element("files").value = element("folder").value = "";
  }
}

function listen() {
  const zone = document.documentElement; // a drop beside the target is meant for it, too
  const drop = element("drop");
  zone.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  zone.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    send(await droppedFiles(event.dataTransfer));
  });
  element("choose-files").onclick = () => element("files").click();
  element("choose-folder").onclick = () => element("folder").click();
  for (const id of ["files", "folder"]) {
    element(id).onchange = (event) => send([...event.target.files].filter((file) => !file.name.startsWith(".")));
  }
}

listen();
watch((state) => {
  limits = state.limits;
  element("limits").textContent = `JPEG, PNG, TIFF, WebP, HEIC; MP4, MOV, AVI, MKV, WebM. At most ${count(limits.num_files)} files and ${bytes(limits.size)}.`;
  element("about").textContent = `dust3r_sfm ${state.version}, predictor ${state.predictor}`;
});
