// A picture from the visitor's own camera, taken when they say so. The camera is on only while the window is open.
import { make } from "./dom.js";

export class Webcam {
  // taken(file): the picture, as a file like any other. failed(): there is no camera, or it may not be used.
  constructor(words, { taken, failed }) {
    Object.assign(this, { taken, failed });
    this.video = make("video", { autoplay: true, muted: true, playsinline: true, "aria-label": words.webcam });
    this.element = make("dialog", { class: "lp-card lp-draw lp-webcam", "aria-label": words.webcam, onclose: () => this.#off() },
      this.video,
      make("div", { class: "btns" },
        make("button", { class: "lp-btn main", type: "button", onclick: () => this.#take() }, words.webcam_take),
        make("button", { class: "lp-btn", type: "button", onclick: () => this.element.close() }, words.webcam_cancel)));
  }

  async open() {
    if (this.isAsking || this.element.open) return;
    this.isAsking = true;
    try {
      this.video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
      this.element.showModal();
    } catch {
      this.failed();
    } finally {
      this.isAsking = false;
    }
  }

  #take() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width) return; // no picture has come yet
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    canvas.toBlob(blob => this.taken(new File([blob], "webcam.png", { type: "image/png" })));
    this.element.close();
  }

  #off() {
    for (const track of this.video.srcObject?.getTracks() ?? []) track.stop();
    this.video.srcObject = null;
  }
}
