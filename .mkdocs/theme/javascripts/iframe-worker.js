/* The search runs in a Worker, and browsers start none for a page that is read from a folder (file:). There its script
   runs in a hidden frame instead, which looks like a Worker to both sides. */
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inside = this.frame.contentWindow
      inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      inside.importScripts = (...urls) => Promise.all(urls.map(one => this.load(one)))
      this.ready = this.load(url)
    }
    load(url) {
      const script = this.frame.contentDocument.createElement("script")
      const loaded = new Promise(done => { script.onload = done })
      script.src = url
      this.frame.contentDocument.body.append(script)
      return loaded
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
