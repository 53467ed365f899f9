/** A fault of the page itself: said in words, with a way on, instead of a blank screen. */
import { Component, type ComponentChildren } from "preact";

interface Props {
  readonly children: ComponentChildren;
}

export class Boundary extends Component<Props, { message: string | undefined }> {
  override state: { message: string | undefined } = { message: undefined };

  override componentDidCatch(error: unknown): void {
    console.error(error);
    this.setState({ message: error instanceof Error ? error.message : String(error) });
  }

  override render() {
    const { message } = this.state;
    if (message === undefined) return this.props.children;
    return (
      <div class="failure" role="alert">
        <h1>This page has a fault</h1>
        <p>{message}</p>
        <p class="muted">
          The cluster is not touched by it. The same figures are in the command sublet, and below api/v1.
        </p>
        <button type="button" class="button" onClick={() => location.reload()}>
          Load it again
        </button>
      </div>
    );
  }
}
