// Of several questions the last one counts: what an earlier one brings is dropped, and so is its error.
export class Latest {
  // failed(error): of the last one.
  constructor(failed) {
    this.failed = failed;
  }

  // act(isOver): leaves off once isOver() says that something newer has come.
  async ask(act) {
    clearTimeout(this.timer);
    const turn = (this.turn = {}), isOver = () => turn !== this.turn;
    try {
      return await act(isOver);
    } catch (error) {
      if (!isOver()) this.failed(error);
    }
  }

  // The same a moment later: a slider on its way asks many times.
  soon(act) {
    this.forget();
    this.timer = setTimeout(() => this.ask(act), 60);
  }

  // Whatever is under way is no longer wanted.
  forget() {
    clearTimeout(this.timer);
    this.turn = null;
  }
}
