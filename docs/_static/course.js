// Quizzes and explorers of the lessons: what a click or a key does. Nothing is loaded from another host.
(() => {
  "use strict";

  const answer = (button) => {
    const question = button.closest(".quiz-question");
    const feedback = question.querySelector(".quiz-feedback");
    const correct = button.dataset.correct === "true";
    if (Number(question.dataset.right) === 1)
      question.querySelectorAll(".quiz-answer").forEach((other) => mark(other, null));
    mark(button, correct);
    const found = question.querySelectorAll(".quiz-answer.is-right").length;
    const rest = Number(question.dataset.right) - found;
    const more = correct && rest > 0 ? ` (${rest} more to find)` : "";
    feedback.textContent = `${correct ? "✓" : "✗"} ${button.dataset.feedback}${more}`;
    feedback.classList.toggle("is-right", correct);
    feedback.classList.toggle("is-wrong", !correct);
  };

  const mark = (button, correct) => {
    button.classList.toggle("is-right", correct === true);
    button.classList.toggle("is-wrong", correct === false);
    button.setAttribute("aria-pressed", String(correct !== null));
  };

  const explorer = (box) => {
    const { folder, sizes, frames } = JSON.parse(box.dataset.explorer);
    const image = box.querySelector(".explorer-frame");
    const controls = [...box.querySelectorAll(".explorer-control")];
    const value = (control) =>
      Number((control.querySelector("input:checked, input[type=range], select") || { value: 0 }).value);
    const source = (file) => (folder ? `${folder}/${file}` : file);
    let preloaded = false;
    const preload = () => {
      if (preloaded) return;
      preloaded = true;
      frames.forEach(([file]) => { new Image().src = source(file); });
    };
    const draw = () => {
      const place = controls.reduce((sum, control, i) => sum * sizes[i] + value(control), 0);
      const [file, alt, width] = frames[place];
      image.src = source(file);
      image.alt = alt;
      image.width = width;
      box.querySelectorAll("input[type=range]").forEach((range) => {
        const word = JSON.parse(range.dataset.words)[Number(range.value)];
        range.setAttribute("aria-valuetext", word);
        range.nextElementSibling.textContent = word;
      });
    };
    box.addEventListener("input", draw);
    box.addEventListener("pointerenter", preload);
    box.addEventListener("focusin", preload);
    draw(); // a browser that comes back to a page may have kept the values of its controls
  };

  const start = () => {
    document.querySelectorAll(".quiz-answer").forEach((button) => button.addEventListener("click", () => answer(button)));
    document.querySelectorAll("[data-explorer]").forEach(explorer);
    // The theme's arrows in the navigation have no name.
    document.querySelectorAll("summary").forEach((arrow) => {
      if (!arrow.textContent.trim()) arrow.setAttribute("aria-label", "pages of this section");
    });
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
